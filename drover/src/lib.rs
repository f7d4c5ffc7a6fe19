//! Upgrades AKS clusters with zero downtime, through Rancher and ARM.
