SELECT
    role, account, action, resource,
    max(last) AS last,
    max(last) FILTER (WHERE outcome = 'done') AS last_done,
    sum(count) AS count
FROM needs
WHERE outcome NOT IN ('denied', 'unauthenticated')
GROUP BY role, account, action, resource
