//! rolecall-agent: hands each workload on a host the credentials of its own account.
