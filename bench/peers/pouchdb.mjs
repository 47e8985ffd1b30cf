// PouchDB on LevelDB, before express-pouchdb, a CouchDB-style server on LevelDB. Plain HTTP, nothing encrypted.
//   node pouchdb.mjs serve DIR CUSTOMERS
//   node pouchdb.mjs pull PORT DIR own|tuned
//   node pouchdb.mjs upload PORT DIR NAME VISITS own|tuned
//   node pouchdb.mjs latency PORT DIR NAME VISITS COUNT
import { answerLines, countingServer, inBatches, measured, pause, PAUSE_MS, records } from './common.mjs';
import express from 'express';
import expressPouchDB from 'express-pouchdb';
import PouchDB from 'pouchdb';
import { EventEmitter } from 'node:events';

EventEmitter.defaultMaxListeners = 100;

// As it comes, a batch has 100 documents. The other one was the fastest of several that were tried.
const BATCHES = { own: {}, tuned: { batch_size: 1000, batches_limit: 10 } };

const [command, ...args] = process.argv.slice(2);
const at = (dir) => PouchDB.defaults({ prefix: `${dir}/` });
const remote = (port, name) => new PouchDB(`http://127.0.0.1:${port}/${name}`);

async function serve(dir, customers) {
  const Server = at(dir);
  const database = new Server('customers');
  await inBatches(customers, 5000, (docs) => database.bulkDocs(docs));
  const app = express();
  app.use(expressPouchDB(Server, {
    mode: 'minimumForPouchDB',
    overrideMode: { include: ['routes/bulk-get'] },
    inMemoryConfig: true,
    logPath: `${dir}/log`,
  }));
  const { port, bytes } = await countingServer(app);
  await answerLines(async (line) => {
    if (line === 'port') return port;
    if (line === 'bytes') return bytes();
    const [, name] = line.split(' ');
    return (await new Server(name).info()).doc_count;
  });
}

async function pull(port, dir, batches) {
  const local = new (at(dir))('customers');
  await local.info();
  const took = await measured(() => local.replicate.from(remote(port, 'customers'), BATCHES[batches]));
  const found = await local.get((await local.allDocs({ limit: 1 })).rows[0].id);
  return { ...took, rows: (await local.info()).doc_count, found: found.name };
}

async function upload(port, dir, name, visits, batches) {
  const local = new (at(dir))(name);
  await local.info();
  // Each is a write of its own, as a rep's are.
  const written = await measured(async () => {
    for await (const visit of records(visits)) await local.put(visit);
  });
  const target = remote(port, name);
  await target.info();
  const took = await measured(() => local.replicate.to(target, BATCHES[batches]));
  return { ...took, written_s: written.seconds, rows: (await target.info()).doc_count };
}

async function latency(port, dir, name, visits, count) {
  const Local = at(dir);
  const [first, second] = [new Local('first'), new Local('second')];
  const target = remote(port, name);
  await target.info();
  const live = { live: true, retry: true };
  const running = [first.replicate.to(target, live), second.replicate.from(target, live)];
  const seen = new EventEmitter();
  second.changes({ live: true, since: 'now' }).on('change', ({ id }) => seen.emit(id, performance.now()));
  const times = [];
  let left = Number(count);
  for await (const visit of records(visits)) {
    if (left-- === 0) break;
    await pause(PAUSE_MS);
    const there = new Promise((come) => seen.once(visit._id, come));
    const begun = performance.now();
    await first.put(visit);
    times.push((await there) - begun);
  }
  running.forEach((it) => it.cancel());
  return { times_ms: times };
}

if (command === 'serve') {
  await serve(...args);
} else {
  console.log(JSON.stringify(await { pull, upload, latency }[command](...args)));
  process.exit(0);
}
