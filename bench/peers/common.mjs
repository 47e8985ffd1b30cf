// What the peers have in common: lines in, lines out, figures of a process.
import { createReadStream, readFileSync } from 'node:fs';
import http from 'node:http';
import { createInterface } from 'node:readline';

/** Records of a file with one JSON object a line. */
export async function* records(file) {
  for await (const line of createInterface({ input: createReadStream(file) })) yield JSON.parse(line);
}

/** Calls `take` with so many records of a file at a time. */
export async function inBatches(file, size, take) {
  let batch = [];
  for await (const record of records(file)) {
    if (batch.push(record) === size) {
      await take(batch);
      batch = [];
    }
  }
  if (batch.length) await take(batch);
}

/** Says it is ready, then answers each line with what `answer` gives for it, until the input ends. */
export async function answerLines(answer) {
  console.log('ready');
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answer(line)));
  }
  process.exit(0);
}

/** An HTTP server on loopback that counts the bytes of its connections. */
export async function countingServer(handler) {
  const server = http.createServer(handler);
  const open = new Set();
  const gone = { up: 0, down: 0 };
  server.on('connection', (socket) => {
    open.add(socket);
    socket.setNoDelay(true);
    socket.on('close', () => {
      gone.up += socket.bytesRead;
      gone.down += socket.bytesWritten;
      open.delete(socket);
    });
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    server,
    port: server.address().port,
    bytes: () => [...open].reduce(
      (sum, socket) => ({ up: sum.up + socket.bytesRead, down: sum.down + socket.bytesWritten }),
      { ...gone },
    ),
  };
}

function memoryKib(name) {
  const line = readFileSync('/proc/self/status', 'utf8').split('\n').find((line) => line.startsWith(name));
  return Number(line.split(/\s+/)[1]);
}

/** Times a piece of work: its seconds, processor time, and memory before it and at most until its end. */
export async function measured(work) {
  const idle_kib = memoryKib('VmRSS');
  const cpu = process.cpuUsage();
  const begun = performance.now();
  await work();
  const seconds = (performance.now() - begun) / 1e3;
  const { user, system } = process.cpuUsage(cpu);
  return { seconds, cpu_s: (user + system) / 1e6, idle_kib, peak_kib: memoryKib('VmHWM') };
}

/** So many milliseconds between one change and the next: people pause. */
export const PAUSE_MS = 250;

export const pause = (ms) => new Promise((over) => setTimeout(over, ms));
