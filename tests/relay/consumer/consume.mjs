// node consume.mjs SERVICE PLC COUNT: reads until COUNT commit operations were seen, each authenticated by the library.
// Prints one line of JSON: operations and events by kind, and every operation's URI in order.
import { IdResolver } from '@atproto/identity'
import { Firehose, MemoryRunner } from '@atproto/sync'

const [service, plcUrl, count] = process.argv.slice(2)
const seen = {}
const uris = []
const idResolver = new IdResolver({ plcUrl, fetch: globalThis.fetch })
const done = new Promise((resolve) => {
  const firehose = new Firehose({
    idResolver,
    service,
    runner: new MemoryRunner({ startCursor: 0, concurrency: 1 }),
    handleEvent: (event) => {
      seen[event.event] = (seen[event.event] ?? 0) + 1
      if (event.uri) uris.push(event.uri.toString())
      if (uris.length >= Number(count)) resolve(firehose)
    },
    onError: (error) => {
      console.error(error)
      process.exit(1)
    },
  })
  firehose.start()
})
const firehose = await done
console.log(JSON.stringify({ seen, uris }))
await firehose.destroy()
process.exit(0)
