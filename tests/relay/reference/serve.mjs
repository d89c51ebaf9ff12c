// node serve.mjs: the reference PDS, as its environment says (PDS_*). Says `ready` once it serves.
import { PDS, envToCfg, envToSecrets, readEnv } from '@atproto/pds'

const environment = readEnv()
const pds = await PDS.create(envToCfg(environment), envToSecrets(environment))
await pds.start()
console.log('ready')
