//! What the tests of the token sources share.

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use upgrade_core::ports::Clock;

use crate::config::Config;

/// A clock that stands where it is put.
pub(super) struct Standing(Mutex<Timestamp>);

impl Standing {
    pub(super) fn at(time: Timestamp) -> Arc<Self> {
        Arc::new(Self(Mutex::new(time)))
    }

    pub(super) fn put(&self, time: Timestamp) {
        *self.0.lock().unwrap() = time;
    }
}

#[async_trait]
impl Clock for Standing {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::try_from(self.now().duration_since(Timestamp::UNIX_EPOCH)).unwrap()
    }

    async fn sleep_until(&self, _: Timestamp) {}
}

/// A file with one environment `e`, its credential in line 5; `endpoint` is ARM's, or empty.
pub(super) fn config(endpoint: &str, credential: &str) -> Config {
    let endpoint = if endpoint.is_empty() { String::new() } else { format!("endpoint = {endpoint:?}\n") };
    let text = format!(
        "[environments.e]\nrancher = {{ url = \"https://r.invalid\", token = {{ env = \"X\" }} }}\n\
         [environments.e.azure]\nsubscription = \"00000000-0000-0000-0000-000000000001\"\n\
         credential = {credential}\n{endpoint}"
    );
    Config::parse(Path::new("drover.toml"), &text).unwrap()
}
