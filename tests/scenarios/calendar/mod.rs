//! The flow `calendar` over a scripted time: people of an office write on all sides, by a seed and on a clock that is
//! moved by hand; everything that can go wrong does; in the end all systems say what the oracle says.

mod affairs;
mod answered;
mod calls;
mod copied;
mod crm;
mod cut_off;
mod days;
mod disconnected;
mod engine;
mod faults;
mod for_users;
mod further;
mod google;
mod held;
mod history;
mod hooks;
mod installation;
mod invited_once;
mod kinds;
mod lost_token;
mod mailed;
mod office;
mod oracle;
mod outlook;
mod people;
mod rehearsal;
mod renewed;
mod says;
mod script;
mod shown;
mod silent;
mod store;
mod taken_out;
mod time;
mod told_once;
mod unfit;
mod watches;
mod world;

use serde_json::Value;
use simulators::Record;

fn object(value: Value) -> Record {
    let Value::Object(object) = value else { panic!("no object: {value}") };
    object
}
