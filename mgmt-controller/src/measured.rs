use strum::{EnumIter, EnumMessage, IntoStaticStr};

/// What the controller measures besides what every daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, EnumMessage, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Measured {
    /// 1 if the agent of an instance of the deployed configuration is connected, else 0.
    InstanceConnected,
    /// When the deployed configuration was deployed, in seconds since 1970, if that was since the controller's start.
    ConfigurationDeployedTimeSeconds,
    /// Size of the configuration store's file.
    StoreBytes,
    /// 0 if the last write of the configuration store failed, else 1.
    StoreWritable,
}
