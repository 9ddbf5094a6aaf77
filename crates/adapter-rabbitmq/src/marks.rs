//! Marks: durable exchanges that nothing is sent to. They are the only thing of the broker that is there or not, can
//! be asked for, and costs nothing.

use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};
use shared::ports::PortError;

use crate::connection::{Connector, close};
use crate::presence::is_there;
use crate::topology::{ExchangeSpec, declare_exchange};

/// Remembers.
pub(crate) async fn remember(connector: &Connector, name: String) -> Result<(), PortError> {
    let exchange = ExchangeSpec { name, kind: ExchangeKind::Fanout };
    let channel = connector.channel().await?;
    let doing = format!("declaring exchange {}", exchange.name);
    let outcome = connector.answer(&doing, declare_exchange(&channel, &exchange)).await;
    close(&channel, connector.answer_timeout).await;
    outcome
}

/// Forgets; the broker has no complaint about what is not there.
pub(crate) async fn forget(connector: &Connector, name: String) -> Result<(), PortError> {
    let channel = connector.channel().await?;
    let doing = format!("deleting exchange {name}");
    let deleting = channel.exchange_delete(name.into(), ExchangeDeleteOptions::default());
    let outcome = connector.answer(&doing, deleting).await;
    close(&channel, connector.answer_timeout).await;
    outcome
}

/// Whether it is there.
pub(crate) async fn remembers(connector: &Connector, name: String) -> Result<bool, PortError> {
    let ask = async |channel: &Channel| passively(channel, &name).await;
    is_there(connector, &format!("exchange {name}"), ask).await
}

async fn passively(channel: &Channel, name: &str) -> lapin::Result<()> {
    let options =
        ExchangeDeclareOptions { passive: true, durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name.into(), ExchangeKind::Fanout, options, FieldTable::default()).await
}
