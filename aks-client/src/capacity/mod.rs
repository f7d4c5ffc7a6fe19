//! Whether more nodes would fit: quota, sizes and their restrictions, addresses.
//!
//! None of it is a promise: quota is not capacity, and whether Azure has machines left is known only by asking for one.

mod addresses;
mod size;
mod subnet;
mod usage;

use serde_json::Value;

pub use addresses::{AddressNeed, KUBENET_MOST_NODES, NetworkMode, overlay_most_nodes};
pub use size::{Restriction, VmSize};
pub use subnet::{Subnet, SubnetUsage};
pub use usage::{QuotaShortage, Usage, quota_shortages};

use crate::client::{AksClient, region};
use crate::error::Error;
use crate::id::SubscriptionId;
use crate::pace::Lane;
use crate::resource_id::ResourceId;
use crate::text;
use crate::transport::Request;

const USAGES_VERSION: &str = "2024-07-01";
const SKUS_VERSION: &str = "2021-07-01";
const NETWORK_VERSION: &str = "2024-05-01";

impl AksClient {
    /// The compute quotas of a region and how much of each is in use. For what a pool needs of them see
    /// [`quota_shortages`].
    ///
    /// Needs `Microsoft.Compute/locations/usages/read` on the subscription.
    pub async fn compute_usages(
        &self,
        subscription: SubscriptionId,
        location: &str,
    ) -> Result<Vec<Usage>, Error> {
        let location = region(location)?;
        let below = ["providers", "Microsoft.Compute", "locations", &location, "usages"];
        let url = self.url_under(&ResourceId::of_subscription(subscription), &below, USAGES_VERSION);
        self.list(url, Lane::Arm, "a list of usages", |value| {
            Usage::read(value).ok_or("a usage without a name and two numbers")
        })
        .await
    }

    /// The virtual machine sizes of a region, with what stands in their way. The answer has some megabytes: ask once.
    ///
    /// Needs `Microsoft.Compute/skus/read` on the subscription.
    pub async fn vm_sizes(&self, subscription: SubscriptionId, location: &str) -> Result<Vec<VmSize>, Error> {
        let location = region(location)?;
        let below = ["providers", "Microsoft.Compute", "skus"];
        let mut url = self.url_under(&ResourceId::of_subscription(subscription), &below, SKUS_VERSION);
        url.query_pairs_mut().append_pair("$filter", &format!("location eq '{location}'"));
        // Disks and snapshots are in the same list.
        let read = |value: &Value| Ok::<_, String>(VmSize::from_value(value.clone()));
        let sizes = self.list(url, Lane::Arm, "a list of sizes", read).await?;
        Ok(sizes.into_iter().flatten().collect())
    }

    /// A subnet, for example the one a pool names, or `None` where there is none.
    ///
    /// Needs `Microsoft.Network/virtualNetworks/subnets/read`.
    pub async fn subnet(&self, id: &ResourceId) -> Result<Option<Subnet>, Error> {
        expect_kind(id, "Microsoft.Network/virtualNetworks/subnets", "subnet")?;
        let request = Request::get(self.url_under(id, &[], NETWORK_VERSION), Lane::Arm);
        match self.send(&request).await {
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
            Ok(reply) => match Subnet::from_value(reply.json()?) {
                Ok(subnet) if subnet.id() == id => Ok(Some(subnet)),
                Ok(other) => Err(reply.unexpected(format!("{} was asked for, {} came", id, other.id()))),
                Err(error) => Err(reply.unexpected(error.to_string())),
            },
        }
    }

    /// How many addresses of each subnet of a virtual network are taken.
    ///
    /// Needs `Microsoft.Network/virtualNetworks/usages/read`.
    pub async fn subnet_usages(&self, network: &ResourceId) -> Result<Vec<SubnetUsage>, Error> {
        expect_kind(network, "Microsoft.Network/virtualNetworks", "virtual network")?;
        let url = self.url_under(network, &["usages"], NETWORK_VERSION);
        self.list(url, Lane::Arm, "a list of subnets' usages", |value| {
            SubnetUsage::read(value).ok_or("a usage without a subnet and two numbers")
        })
        .await
    }
}

fn expect_kind(id: &ResourceId, kind: &str, what: &str) -> Result<(), Error> {
    if id.kind().is_some_and(|found| found.eq_ignore_ascii_case(kind)) {
        return Ok(());
    }
    Err(Error::InvalidArgument {
        reason: format!("`{}` is not a {what}", text::shorten(&id.to_string(), 300)),
    })
}
