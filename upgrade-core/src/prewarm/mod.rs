//! Pulling images ahead: before the nodes of a pool are cordoned, every image that will move is pulled onto the nodes where it
//! will land.
//!
//! A pod on such a node does it, one for each namespace, because that is where its pull secrets are. Nothing of an image ever
//! runs: the pod's command is in no image, so that the container cannot start, after the image was pulled. It is a help and no
//! right: where a namespace does not admit the pod, the images there are pulled when their pods land. An image that cannot be
//! pulled is another matter. It would not be pulled later either, and the run holds while everything still runs where it was.

mod needs;
mod pod;

pub(crate) use needs::{NodeNeeds, needs, samples, users};
pub use pod::{PREWARM_COMMAND, PREWARM_CONTAINER, PrewarmPod};
