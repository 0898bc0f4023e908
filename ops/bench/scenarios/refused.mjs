// P13: a tenant over its budget is told so, again and again, against the least that a JavaScript Worker can say.
import { HOT_CONNECTIONS, WARMUP_REQUESTS, settings } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { baseline, product } from '../servers.mjs';
import { asking } from '../product.mjs';
import { overBudget } from './abuser.mjs';

export const REQUESTS_PER_MINUTE = 100;
const LOAD = { connections: HOT_CONNECTIONS, order: 'cycle', warmup_requests: WARMUP_REQUESTS };

async function ours() {
  const server = await product(REQUESTS_PER_MINUTE);
  const abuser = await overBudget(server, REQUESTS_PER_MINUTE);
  return sendLoad(server, { ...LOAD, requests: [asking(abuser)], expected: 429 });
}

async function javascript() {
  return sendLoad(await baseline('hello'), { ...LOAD, requests: [{ method: 'GET', path: '/' }] });
}

export function refused() {
  return {
    contenders: { ours, javascript },
    rows: [{
      id: 'P13', title: 'refused request (429), 32 connections ÷ JavaScript hello', other: 'javascript',
      of: 'per_second', target: { least: 0.7 },
    }],
    notes: settings.secondsEach > 50 ? ['a window of more than a minute frees the budget: P13 is then no 429'] : [],
  };
}
