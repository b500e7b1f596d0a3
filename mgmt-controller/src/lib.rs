//! mgmt-controller.
