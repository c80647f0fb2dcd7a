//! `rolecall people`: who is known, and in which groups.

use api::{
    Label, PageAsked, Reason,
    bindings::Because,
    people::{
        DisablePerson, GroupsOfPerson, ListPeople, Person, PersonId, PersonPath, PutGroupsOfPerson,
    },
};
use clap::Subcommand;

use crate::{
    Done, Failure,
    line::{Line, Paging},
    paper::{table, when},
};

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  rolecall people list
  rolecall people groups 00u1 --group operator,payments --reason 'on call from now on'")]
pub(crate) enum People {
    /// List the people who are known.
    List(Paging),
    /// Say which groups a person is in: these and no others, from their next request on.
    Groups {
        /// The person's id.
        person: PersonId,
        /// The groups, with commas between them; none where absent.
        #[arg(long = "group", value_delimiter = ',', value_name = "GROUP")]
        groups: Vec<Label>,
        /// Why.
        #[arg(long)]
        reason: Reason,
    },
    /// Shut a person out and end their sessions.
    Disable {
        /// The person's id.
        person: PersonId,
        /// Why.
        #[arg(long)]
        reason: Reason,
    },
}

impl People {
    pub(crate) async fn execute(&self, line: &Line) -> Result<Done, Failure> {
        match self {
            Self::List(paging) => {
                let listed = paging
                    .follow(async |limit, after| {
                        line.ask::<ListPeople>(&(), &PageAsked { limit, after }, &()).await
                    })
                    .await?;
                line.list(&listed, people)?;
            }
            Self::Groups { person, groups, reason } => {
                let path = PersonPath { person: person.clone() };
                let body = GroupsOfPerson { groups: groups.clone(), reason: reason.clone() };
                let person = line.ask::<PutGroupsOfPerson>(&path, &(), &body).await?;
                line.show(&person, |person| people(std::slice::from_ref(person)))?;
            }
            Self::Disable { person, reason } => {
                let path = PersonPath { person: person.clone() };
                let because = Because { reason: reason.clone() };
                let person = line.ask::<DisablePerson>(&path, &(), &because).await?;
                line.show(&person, |person| people(std::slice::from_ref(person)))?;
            }
        }
        Ok(Done::Yes)
    }
}

fn people(people: &[Person]) -> String {
    let mut table = table(["person", "name", "email", "groups", "signed in", "state"]);
    for person in people {
        let state = match person.disabled {
            Some(since) => format!("shut out {}", when(since)),
            None => "active".to_owned(),
        };
        table.add_row([
            person.id.clone(),
            person.name.clone(),
            person.email.clone().unwrap_or_else(|| "-".to_owned()),
            person.groups.join(" "),
            person.last_login.map_or_else(|| "never".to_owned(), when),
            state,
        ]);
    }
    table.to_string()
}
