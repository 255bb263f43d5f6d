//! End-to-end scenarios on real PostgreSQL servers, one idea a file.
//!
//! They are one program, so that they share a pair of servers and run side by side; each works in databases of its own.
//! `cargo test -p strait-tests --test scenarios NAME` runs those whose path holds NAME. The `peer_…` files follow the
//! scenarios that PostgreSQL tests its own logical replication for (src/test/subscription/t), in the same numbering.

mod catch_up;
mod conflict_rows;
mod deploy;
mod dialling;
mod dry_run;
mod exactly_once;
mod existing_tables;
mod faults;
mod fencing;
mod foreign_database;
mod greenplum_destination;
mod greenplum_plan;
mod greenplum_source;
mod harness;
mod hops;
mod idle;
mod joining_tables;
mod kinds;
mod lanes;
mod large_transaction;
mod many_objects;
mod many_tables;
mod mapping;
mod odd_identifiers;
mod older_sources;
mod on_error;
mod operations;
mod oracle;
mod peer_001_rep_changes;
mod peer_002_types;
mod peer_003_constraints;
mod peer_005_encoding;
mod peer_006_ddl;
mod peer_008_diff_schema;
mod peer_010_truncate;
mod peer_011_generated;
mod peer_012_collation;
mod peer_013_partition;
mod peer_015_transactions;
mod peer_020_messages;
mod peer_021_prepared;
mod peer_027_nosuperuser;
mod peer_100_bugs;
mod precheck;
mod precheck_overrides;
mod row_filter;
mod schema;
mod security;
mod sequences;
mod source_failover;
mod spine;
mod streaming;
mod streaming_faults;
mod suspended_tables;
mod sync_command;
mod synchronize;
mod telemetry;
mod throttle;
mod versions;
mod wan;
mod whole_rows;
