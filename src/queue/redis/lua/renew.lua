-- Makes a lease last for its whole time again. ARGV: id, worker, delivery.

tend()
local j = owned(ARGV[1], ARGV[2], ARGV[3])
if not j then return answer({ 'lost' }) end
-- JUSTID: this is no delivery, and is not counted as one.
redis.call('XCLAIM', stream(j), GROUP, j.worker, 0, j.entry, 'JUSTID')
redis.call('ZADD', P .. 'leases', now + S.lease, j.id)
return answer({ 'ok', j.ending or '' })
