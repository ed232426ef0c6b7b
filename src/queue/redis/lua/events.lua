-- What was told of a job. ARGV: tenant, id, the first number, so many at most.
-- Returns the state, how many were told, how many of them are kept, and those that were asked for.

local tenant, state, last = unpack(redis.call('HMGET', job_key(ARGV[2]), 'tenant', 'state', 'told'))
if tenant ~= ARGV[1] then return { 'none' } end
local key, from, most = P .. 'events:' .. ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local kept = redis.call('LLEN', key)
local skipped = math.max(0, from - (last - kept + 1))
local found = {}
if most > 0 and skipped < kept then found = redis.call('LRANGE', key, skipped, skipped + most - 1) end
return { 'ok', state, last, tostring(kept), found }
