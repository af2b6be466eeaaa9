// tardis-dev's half: `node tardis_half.js SHAPE FILE` answers each line on standard input with ns a frame.
// JSON.parse and its own normalisers, the code that tardis-machine runs for every message.
const fs = require('fs')
const readline = require('readline')
const { normalizeTrades } = require('tardis-dev')

const [shape, path] = process.argv.slice(2)
const frames = fs.readFileSync(path, 'utf8').trimEnd().split('\n')
const exchange = { coinbase_match: 'coinbase', binance_trade: 'binance' }[shape]
if (!exchange) throw new Error(`no normaliser for ${shape}`)
const texts = shape === 'binance_trade' ? frames.map((f) => `{"stream":"btcusdt@trade","data":${f}}`) : frames

readline.createInterface({ input: process.stdin }).on('line', () => {
  const mapper = normalizeTrades(exchange, new Date())
  let told = 0
  const begin = process.cpuUsage()
  for (const text of texts) {
    const message = JSON.parse(text)
    if (!mapper.canHandle(message)) continue
    for (const trade of mapper.map(message, new Date())) told += trade.price > 0 ? 1 : 0
  }
  const { user, system } = process.cpuUsage(begin)
  if (told !== texts.length) throw new Error(`${told} trades of ${texts.length} frames`)
  console.log(((user + system) * 1000) / texts.length, told, 0)
})
