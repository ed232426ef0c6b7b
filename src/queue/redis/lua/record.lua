-- A record. ARGV: kind, tenant, name.

local body = redis.call('HGET', P .. 'records:' .. ARGV[1] .. ':' .. ARGV[2], ARGV[3])
if not body then return { 'none' } end
return { 'ok', body }
