//! The lab over real HTTP, on loopback: Rancher's `/v3`, the Kubernetes API behind its proxy, ARM, and the images' registry.
//!
//! One [`Server`] serves one [`Lab`](crate::Lab) and lets its time pass in step with the real clock, faster by a factor. What
//! it answers comes from the same rules as the ports' answers; here they only get their wire form.

mod app;
mod arm;
mod arm_limits;
mod arm_reads;
mod call;
mod kube;
mod pace;
mod rancher;
mod registry;
mod server;
mod weather;

pub use server::{Server, ServerOptions};

#[cfg(test)]
mod tests;
