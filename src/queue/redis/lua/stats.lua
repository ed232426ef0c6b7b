-- How much there is of what. ARGV: tenant ('' for all).

local tenant = ARGV[1] ~= '' and ARGV[1] or nil
local first = redis.call('ZRANGE', tenant and (P .. 'queued:' .. tenant) or (P .. 'queued'), 0, 0, 'WITHSCORES')
local oldest = first[2] and math.max(0, now - tonumber(first[2])) or 0
return { 'ok', counted('queued', tenant), counted('delayed', tenant), counted('running', tenant), counted('dead', tenant),
  oldest, counted('redelivered') }
