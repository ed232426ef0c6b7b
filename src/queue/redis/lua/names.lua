-- The names of a tenant's records of a kind, in no order. ARGV: kind, tenant.

local found = redis.call('HKEYS', P .. 'records:' .. ARGV[1] .. ':' .. ARGV[2])
table.insert(found, 1, 'ok')
return found
