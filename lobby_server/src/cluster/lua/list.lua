-- KEYS: the list. ARGV: the node that asks, where to begin, how many, and what stands before a name in a room's key.
-- Redis serves nobody else meanwhile: no more than MOST rooms are looked at.
local MOST, STEP = 2000, 100
local limit = tonumber(ARGV[3])
local from, rooms, over, seen, more, ends = ARGV[2], {}, {}, 0, false, false
local gap = grace()
while not ends and not more and seen < MOST do
  local names = redis.call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, STEP)
  for _, name in ipairs(names) do
    seen = seen + 1
    local room = redis.call('HMGET', ARGV[4] .. name, 'node', 'summary')
    local how = room[1] and life(ARGV[1], room[1]) or FORGOTTEN
    if how == THERE then
      if #rooms == limit then
        more = true
        break
      end
      table.insert(rooms, room[2])
    elseif how >= GONE and not gap then
      -- Its node says it anew when it is there again.
      table.insert(over, name)
    end
    from = '(' .. name
  end
  ends = #names < STEP
end
if #over > 0 then
  redis.call('ZREM', KEYS[1], unpack(over))
end
-- An empty page is the last one.
return { (more or not ends) and #rooms > 0 and 1 or 0, rooms }
