//! The next target of the plan that may be tried now.

use crate::error::{Code, Error};
use crate::log::Attempt;
use crate::stages::Stage;
use crate::stages::choose::{Choice, Plan};
use crate::trip::Trip;

pub(crate) fn pick(trip: &mut Trip, plan: &mut Plan) -> Result<Choice, Error> {
    trip.enter(Stage::Pick);
    let choice = plan.next().ok_or_else(|| {
        // `Plan::spend` hands the last error on before the list runs out, so an empty plan is our own defect.
        Error::new(Code::PlaneInternal, "The plan of targets ran out.")
    })?;
    trip.attempts.push(Attempt::begin(choice.target.clone(), &choice.model, trip.now()));
    Ok(choice)
}
