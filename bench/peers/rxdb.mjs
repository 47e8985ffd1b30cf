// RxDB with its memory storage, before its own websocket server. Nothing is kept on disk, nothing is encrypted, plain ws.
//   node rxdb.mjs serve CUSTOMERS
//   node rxdb.mjs pull PORT
//   node rxdb.mjs upload PORT NAME VISITS
//   node rxdb.mjs latency PORT NAME VISITS COUNT
import { answerLines, countingServer, inBatches, measured, pause, PAUSE_MS, records } from './common.mjs';
import { createRxDatabase } from 'rxdb/plugins/core';
import { replicateWithWebsocketServer, startWebsocketServer } from 'rxdb/plugins/replication-websocket';
import { getRxStorageMemory } from 'rxdb/plugins/storage-memory';
import { EventEmitter } from 'node:events';

const BATCH = 1000;

const text = { type: 'string' };
const customer = {
  version: 0,
  primaryKey: '_id',
  type: 'object',
  properties: {
    _id: { type: 'string', maxLength: 40 },
    code: text,
    name: { type: 'string', maxLength: 200 },
    brand: text,
    channel: text,
    address: text,
    city: text,
    region: text,
    postcode: text,
    country: text,
    phone: text,
    lat: { type: 'number' },
    lon: { type: 'number' },
    territory: { type: 'string', maxLength: 40 },
    notes: text,
  },
  required: ['_id', 'name', 'territory'],
  indexes: ['name', 'territory'],
};
const visit = {
  version: 0,
  primaryKey: '_id',
  type: 'object',
  properties: {
    _id: { type: 'string', maxLength: 40 },
    customer: { type: 'string', maxLength: 40 },
    rep: text,
    territory: text,
    state: text,
    day: { type: 'string', maxLength: 10 },
  },
  required: ['_id', 'customer', 'day'],
  indexes: ['customer', 'day'],
};

let made = 0;

async function open(names) {
  made += 1;
  const database = await createRxDatabase({
    name: `db${made}`,
    storage: getRxStorageMemory(),
    multiInstance: false,
    eventReduce: true,
  });
  const schema = (name) => ({ schema: name === 'customers' ? customer : visit });
  await database.addCollections(Object.fromEntries(names.map((name) => [name, schema(name)])));
  return database;
}

async function replicate(collection, port, live) {
  const state = await replicateWithWebsocketServer({
    collection,
    url: `ws://127.0.0.1:${port}`,
    replicationIdentifier: `${collection.database.name}-${process.pid}`,
    live,
    batchSize: BATCH,
  });
  state.error$.subscribe((error) => console.error(error));
  return state;
}

async function serve(customers) {
  const database = await open(['customers']);
  await inBatches(customers, 5000, (docs) => database.customers.bulkInsert(docs));
  const { server, port, bytes } = await countingServer();
  await startWebsocketServer({ database, server });
  await answerLines(async (line) => {
    if (line === 'port') return port;
    if (line === 'bytes') return bytes();
    const [verb, name] = line.split(' ');
    if (verb === 'make') await database.addCollections({ [name]: { schema: visit } });
    return database[name].count().exec();
  });
}

async function pull(port) {
  const database = await open(['customers']);
  const took = await measured(async () => {
    const state = await replicate(database.customers, port, false);
    await state.awaitInitialReplication();
  });
  const found = await database.customers.findOne().exec();
  return { ...took, rows: await database.customers.count().exec(), found: found.name };
}

async function upload(port, name, visits) {
  const database = await open([name]);
  const written = await measured(async () => {
    for await (const visit of records(visits)) await database[name].insert(visit);
  });
  const took = await measured(async () => {
    const state = await replicate(database[name], port, false);
    await state.awaitInitialReplication();
  });
  return { ...took, written_s: written.seconds, rows: await database[name].count().exec() };
}

async function latency(port, name, visits, count) {
  const [first, second] = [await open([name]), await open([name])];
  for (const database of [first, second]) {
    await (await replicate(database[name], port, true)).awaitInitialReplication();
  }
  const seen = new EventEmitter();
  second[name].insert$.subscribe(({ documentId }) => seen.emit(documentId, performance.now()));
  const times = [];
  let left = Number(count);
  for await (const visit of records(visits)) {
    if (left-- === 0) break;
    await pause(PAUSE_MS);
    const there = new Promise((come) => seen.once(visit._id, come));
    const begun = performance.now();
    await first[name].insert(visit);
    times.push((await there) - begun);
  }
  return { times_ms: times };
}

const [command, ...args] = process.argv.slice(2);
if (command === 'serve') {
  await serve(...args);
} else {
  console.log(JSON.stringify(await { pull, upload, latency }[command](...args)));
  process.exit(0);
}
