SELECT
    application, environment, role, access_key, signer, account, region, service, operation, resources,
    max(error) FILTER (WHERE outcome = 'denied') AS error,
    min(time) FILTER (WHERE outcome = 'denied') AS first,
    max(last) FILTER (WHERE outcome = 'denied') AS last,
    sum(count) FILTER (WHERE outcome = 'denied') AS count
FROM (
    SELECT
        time, last, application, environment, role,
        CASE WHEN role IS NULL THEN access_key END AS access_key,
        signer, account, region, service, operation, resources, error, outcome, count
    FROM calls
    WHERE outcome IN ('denied', 'done')
        AND time >= {now} - INTERVAL '48 hours'
        AND last >= {now} - INTERVAL '24 hours'
)
GROUP BY application, environment, role, access_key, signer, account, region, service, operation, resources
HAVING max(last) FILTER (WHERE outcome = 'denied') IS NOT NULL
    AND coalesce(
        max(last) FILTER (WHERE outcome = 'done') < max(last) FILTER (WHERE outcome = 'denied'), true)
