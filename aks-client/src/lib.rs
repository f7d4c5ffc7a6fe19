//! Typed ARM client for AKS clusters, agent pools and their long-running operations.
