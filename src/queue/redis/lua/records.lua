-- All records of a kind, in no order. ARGV: kind, '1' where they are of one tenant only, that tenant.

local tenants = ARGV[2] == '1' and { ARGV[3] } or redis.call('SMEMBERS', P .. 'records:' .. ARGV[1])
local found = { 'ok' }
for _, tenant in ipairs(tenants) do
  found[#found + 1] = { tenant, redis.call('HGETALL', P .. 'records:' .. ARGV[1] .. ':' .. tenant) }
end
return found
