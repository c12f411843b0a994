-- Some rooms of a node, with what is new of them. KEYS: five of each room, see `put`. ARGV: the node, and five of each room.
-- Returns those that the node has lost: the room, and the node that has it with its site, where one is there.
local node, lost = ARGV[1], {}
for index = 0, #KEYS / 5 - 1 do
  local k, v = index * 5 + 1, index * 5 + 2
  local known = redis.call('GET', KEYS[k + 4])
  local holder = known and redis.call('HGET', known, 'node')
  local mine = true
  if holder and holder ~= node then
    mine = false
    if life(node, holder) == THERE then
      table.insert(lost, { ARGV[v], holder, site(node, holder) })
    else
      table.insert(lost, { ARGV[v], '', '' })
    end
  elseif not holder or known ~= KEYS[k] then
    if holder then
      remove(known)
    end
    -- The registry had lost it, or never had it.
    if in_the_way(node, KEYS[k + 1]) or in_the_way(node, KEYS[k + 2]) then
      mine = false
      table.insert(lost, { ARGV[v], '', '' })
    end
  end
  if mine then
    put(node, KEYS, k, ARGV, v)
  end
end
return lost
