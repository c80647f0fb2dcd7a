//! rolecall-server: the control plane, so that a host holds no power.
