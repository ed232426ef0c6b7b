-- Keeps a record. ARGV: kind, tenant, name, body, '1' where it may replace another one.

local kind, tenant, name, body, replace = unpack(ARGV)
local key = P .. 'records:' .. kind .. ':' .. tenant
local there = redis.call('HEXISTS', key, name) == 1
if there and replace ~= '1' then return { 'existed' } end
if not there and redis.call('HLEN', key) >= S.records then return { 'full' } end
redis.call('HSET', key, name, body)
redis.call('SADD', P .. 'records:' .. kind, tenant)
return { 'ok' }
