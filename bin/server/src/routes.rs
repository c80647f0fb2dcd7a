//! What answers which endpoint: all of them, in one place.

use api::{health, login, people, policies, trust};

use crate::{acts, http::Routes};

/// Every endpoint and its handler.
pub fn routes() -> Routes {
    signing_in(acts::routes(Routes::default()))
        .open::<health::ReadHealth>(crate::health::health)
        .open::<trust::ReadTrust>(crate::health::trust)
        .person::<people::ListPeople>(crate::people::list)
        .person::<people::PutGroupsOfPerson>(crate::people::put_groups)
        .person::<people::DisablePerson>(crate::people::disable)
        .person::<policies::ReadPolicies>(crate::policing::read)
        .person::<policies::PutPolicies>(crate::policing::put)
        .person::<policies::DryRunPolicies>(crate::policing::dry_run)
}

fn signing_in(routes: Routes) -> Routes {
    routes
        .open::<login::LoginByToken>(crate::login::by_token)
        .open::<login::BeginDeviceLogin>(crate::login::begin_device)
        .open::<login::PollDeviceLogin>(crate::login::poll_device)
        .browser::<login::LoginByBrowser>(crate::login::begin_browser)
        .browser::<login::FinishBrowserLogin>(crate::login::finish_browser)
        .person::<login::ReadMe>(crate::login::me)
        .person::<login::Logout>(crate::login::logout)
}
