//! The lab: a simulated AKS cluster with its Kubernetes, Azure and Rancher, seeded and in virtual time.
