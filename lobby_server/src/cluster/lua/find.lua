-- KEYS: what the name looks like, or the code. ARGV: the node that asks.
local key = redis.call('GET', KEYS[1])
local room = key and redis.call('HMGET', key, 'node', 'room')
local gap, empty = grace()
if not room or not room[1] then
  return { empty and 'moving' or 'none' }
end
local how = life(ARGV[1], room[1])
if how == THERE then
  return { 'found', room[1], room[2], site(ARGV[1], room[1]) }
elseif how == FORGOTTEN and not gap then
  return { 'none' }
end
return { 'moving' }
