-- KEYS: the room's own. ARGV: the node and the room's id.
local room = redis.call('HMGET', KEYS[1], 'node', 'room')
if room[1] == ARGV[1] and room[2] == ARGV[2] then
  remove(KEYS[1])
end
return { 'done' }
