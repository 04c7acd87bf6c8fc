//! One agent after the other. Each sees what those before it said; the last one's answer streams through.

use std::sync::Arc;

use meseta_wire::conversation::{Message, Part, Role, Text};
use meseta_wire::history::Kept;

use crate::error::Error;
use crate::handle::Outbound;
use crate::orchestrate::{Errand, as_it_is, pass_on, read_hop};
use crate::trip::Trip;

pub(crate) async fn chain(trip: &mut Trip, errand: &Errand, chosen: &[Arc<str>]) -> Result<Outbound, Error> {
    let Some((last, before)) = chosen.split_last() else {
        return Err(Error::new(crate::error::Code::PlaneInternal, "Nobody was chosen."));
    };
    let mut thread = errand.thread.clone();
    for id in before {
        let reply = read_hop(errand.to_agent(trip, id, &thread)?).await?;
        // An error is the agent's own to tell, and a tool is the client's to run: nobody can go on from either.
        if !reply.is_success() {
            return Ok(as_it_is(reply));
        }
        let said = reply.said(errand.dialect())?;
        if said.calls {
            return Ok(as_it_is(reply));
        }
        thread.answered(id, &said.text);
        if let Some(turn) = &mut trip.kept {
            turn.new.push(spoken(id, said.text));
        }
    }
    if let Some(turn) = &mut trip.kept {
        turn.agent = Some(last.to_string());
    }
    Ok(pass_on(errand.to_agent(trip, last, &thread)?).await)
}

/// What an agent said on the way, as the conversation keeps it.
fn spoken(id: &str, text: String) -> Kept<'static> {
    let parts = vec![Part::Text(Text { text: text.into(), ..Text::default() })];
    let name = Some(id.to_owned().into());
    Kept { instructions: false, message: Message { role: Role::Assistant, name, parts } }
}
