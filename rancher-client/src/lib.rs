//! Typed client for the parts of the Rancher API an upgrade needs.
