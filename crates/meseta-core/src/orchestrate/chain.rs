//! One agent after the other. Each sees what those before it said; the last one's answer streams through.

use meseta_wire::conversation::{Message, Part, Role, Text};
use meseta_wire::history::Kept;

use crate::error::{Code, Error};
use crate::handle::Outbound;
use crate::orchestrate::{Errand, as_it_is, pass_on, read_hop, told};
use crate::trip::Trip;

pub(crate) async fn chain(trip: &mut Trip, errand: &Errand) -> Result<Outbound, Error> {
    let agents = &errand.lineup.agents;
    let Some((last, before)) = agents.split_last() else {
        return Err(Error::new(Code::PlaneInternal, "Nobody was chosen."));
    };
    let mut thread = errand.thread.clone();
    let mut said = errand.said().to_vec();
    for (number, id) in before.iter().enumerate() {
        let reply = read_hop(errand.to_agent(trip, id, &thread)?).await?;
        // An error is the agent's own to tell, and a tool is the client's to run: nobody can go on from either.
        if !reply.is_success() {
            return told(reply, id);
        }
        let heard = reply.said(errand.dialect(), id)?;
        if !heard.calls.is_empty() {
            errand.wait(trip, &agents[number..], said)(&heard.calls);
            if let Some(turn) = &mut trip.kept {
                turn.agent = Some(id.to_string());
            }
            return Ok(as_it_is(reply));
        }
        thread.answered(id, &heard.text);
        if let Some(turn) = &mut trip.kept {
            turn.new.push(spoken(id, heard.text.clone()));
        }
        said.push((id.clone(), heard.text));
    }
    if let Some(turn) = &mut trip.kept {
        turn.agent = Some(last.to_string());
    }
    let outbound = pass_on(errand.to_agent(trip, last, &thread)?).await;
    // An agent that is alone is found again by what the user asked.
    Ok(if said.is_empty() { outbound } else { errand.overhear(trip, outbound, last, said) })
}

/// What an agent said on the way, as the conversation keeps it.
fn spoken(id: &str, text: String) -> Kept<'static> {
    let parts = vec![Part::Text(Text { text: text.into(), ..Text::default() })];
    let name = Some(id.to_owned().into());
    Kept { instructions: false, message: Message { role: Role::Assistant, name, parts } }
}
