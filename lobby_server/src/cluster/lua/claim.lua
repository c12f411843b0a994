-- KEYS: a room's, see `put`. ARGV: the node, and the room's values.
local node, epoch = ARGV[1], tonumber(ARGV[3])
local own = false
local known = redis.call('GET', KEYS[5])
local held = known and redis.call('HMGET', known, 'node', 'room', 'epoch')
if held and held[1] then
  local how = life(node, held[1])
  if how == THERE and held[1] ~= node then
    return { 'held', held[1], held[2], site(node, held[1]) }
  elseif how == DOUBTFUL then
    return { 'moving' }
  elseif tonumber(held[3]) > epoch then
    return { 'stale', held[3] }
  elseif held[1] ~= node and is_safe(held[1]) then
    return { 'moving' }
  end
  own = true
  remove(known)
end
local room, early = in_the_way(node, KEYS[2])
if early then
  return { 'moving' }
elseif room then
  return { 'name', room[1], room[2] }
end
room, early = in_the_way(node, KEYS[3])
if early then
  return { 'moving' }
elseif room then
  return { 'code' }
end
local _, empty = grace()
if empty and not own then
  return { 'moving' }
end
put(node, KEYS, 1, ARGV, 2)
return { 'claimed' }
