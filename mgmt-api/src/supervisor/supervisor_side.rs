//! What a Supervisor does with the records of its layout. Zeek's own does it; here it serves stand-ins for one.

use broker_codec::{
    Data,
    data::{Protocol, Table},
    zeek::Event,
};

use super::layout::{
    CREATE_REQUEST, ENDPOINT_PORT, LayoutError, STATUS_RESPONSE, SupervisorLayout, convert_values, elements,
};

impl SupervisorLayout {
    /// A request that was sent to a Supervisor with this layout, in the current one. Only
    /// `SupervisorControl::create_request` has a record in it.
    ///
    /// # Errors
    ///
    /// If the record is too short, where a Zeek drops the request without a word.
    pub fn request_to_current(self, mut event: Event) -> Result<Event, LayoutError> {
        if event.name == CREATE_REQUEST
            && let Some(config) = event.args.get_mut(1)
        {
            *config = self.node_config_to_current(std::mem::take(config))?;
        }
        Ok(event)
    }

    /// A response in the layout of the Supervisor that gives it. Only `SupervisorControl::status_response` has records
    /// in it.
    ///
    /// # Errors
    ///
    /// If a field is set that the layout does not have.
    pub fn response_from_current(self, mut event: Event) -> Result<Event, LayoutError> {
        if event.name == STATUS_RESPONSE
            && self != Self::V7_0
            && let Some(status) = event.args.get_mut(1)
        {
            let mut fields = elements(std::mem::take(status))?;
            if let Some(Data::Table(nodes)) = fields.first_mut() {
                *nodes = convert_values(std::mem::take(nodes), |node| self.node_from_current(node))?;
            }
            *status = Data::Vector(fields);
        }
        Ok(event)
    }

    fn node_from_current(self, node: Data) -> Result<Data, LayoutError> {
        let mut node = elements(node)?;
        if let Some(config) = node.first_mut() {
            let mut fields = elements(self.node_config_from_current(elements(std::mem::take(config))?)?)?;
            if let Some(Data::Table(cluster)) = fields.last_mut() {
                *cluster = forget_protocols(std::mem::take(cluster))?;
            }
            *config = Data::Vector(fields);
        }
        Ok(Data::Vector(node))
    }
}

/// Before Zeek 7.0 the Supervisor keeps the number of a port only, and reports all of them as TCP.
fn forget_protocols(cluster: Table) -> Result<Table, LayoutError> {
    convert_values(cluster, |endpoint| {
        let mut fields = elements(endpoint)?;
        if let Some(Data::Port(port)) = fields.get_mut(ENDPOINT_PORT) {
            port.protocol = Protocol::Tcp;
        }
        Ok(Data::Vector(fields))
    })
}
