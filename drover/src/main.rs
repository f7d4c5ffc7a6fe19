//! The command `aks-drover`.

fn main() {}
