-- Jobs of a tenant in brief, the newest first. ARGV: tenant, the id that they are behind ('' for none), so many at most.
-- Ids of jobs that are forgotten meanwhile come without the rest.

local from = ARGV[2] == '' and '+' or '(' .. ARGV[2]
local found = { 'ok' }
for _, id in ipairs(redis.call('ZREVRANGEBYLEX', P .. 'all:' .. ARGV[1], from, '-', 'LIMIT', 0, ARGV[3])) do
  found[#found + 1] = { id, redis.call('HMGET', job_key(id), 'head', 'state', 'attempts', 'created', 'started', 'finished',
    'brief') }
end
return found
