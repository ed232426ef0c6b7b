-- Forgets a record. ARGV: kind, tenant, name.

local key = P .. 'records:' .. ARGV[1] .. ':' .. ARGV[2]
if redis.call('HDEL', key, ARGV[3]) == 0 then return { 'none' } end
if redis.call('EXISTS', key) == 0 then redis.call('SREM', P .. 'records:' .. ARGV[1], ARGV[2]) end
return { 'ok' }
