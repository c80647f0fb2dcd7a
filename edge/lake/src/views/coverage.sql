SELECT
    agent AS host,
    day,
    min("from") AS first,
    max("to") AS last,
    sum(sent) AS sent,
    sum(stored) AS stored,
    sum(folded) AS folded,
    sum(attempts) AS attempts,
    sum(lost_kernel_drop + lost_malformed + lost_over_quota + lost_spool_full + lost_disk_refused
        + lost_spool_damaged + lost_shim_full + lost_shim_long + lost_shim_error + lost_shim_off
        + lost_shim_other) AS lost,
    last_value(held ORDER BY "to", seq) AS held,
    sum(cut_off) AS cut_off,
    sum(crashes) AS crashes,
    sum(lost_kernel_drop) AS lost_kernel_drop,
    sum(lost_malformed) AS lost_malformed,
    sum(lost_over_quota) AS lost_over_quota,
    sum(lost_spool_full) AS lost_spool_full,
    sum(lost_disk_refused) AS lost_disk_refused,
    sum(lost_spool_damaged) AS lost_spool_damaged,
    sum(lost_shim_full) AS lost_shim_full,
    sum(lost_shim_long) AS lost_shim_long,
    sum(lost_shim_error) AS lost_shim_error,
    sum(lost_shim_off) AS lost_shim_off,
    sum(lost_shim_other) AS lost_shim_other
FROM coverage_files
GROUP BY agent, day
