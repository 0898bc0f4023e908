// Takes the names of functions out of a wasm module: a tenth of it, which every isolate would load and nobody there reads.
// The module as it was is kept where the second argument says, for reading the traces of traps and profiles.
//   node strip-names.mjs build/index_bg.wasm target/index_bg.named.wasm
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

const [file, named] = process.argv.slice(2);
const module = readFileSync(file);
const CUSTOM = 0;
const HEADER_BYTES = 8;

// A number of variable length, and where what follows it begins.
function leb128(at) {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = module[at++];
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return [value, at];
  }
}

const kept = [module.subarray(0, HEADER_BYTES)];
for (let at = HEADER_BYTES; at < module.length;) {
  const [bytes, begin] = leb128(at + 1);
  const end = begin + bytes;
  const [length, name] = module[at] === CUSTOM ? leb128(begin) : [0, begin];
  if (module.toString('utf8', name, name + length) !== 'name') kept.push(module.subarray(at, end));
  at = end;
}
mkdirSync(dirname(named), { recursive: true });
writeFileSync(named, module);
writeFileSync(file, Buffer.concat(kept));
