//! Who is calling: kernel evidence in, an attested workload out.
