-- A worker lives. ARGV: name, report.

redis.call('HSET', P .. 'workers', ARGV[1], ARGV[2])
redis.call('ZADD', P .. 'seen', now, ARGV[1])
redis.call('SREM', P .. 'gone', ARGV[1])
return { 'ok' }
