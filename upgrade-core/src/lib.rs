//! The pure heart of Drover: model, inventory, policy, plan, run, move, event, journal, ports.
