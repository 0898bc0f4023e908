// P13: a tenant over its budget is told so, again and again, against the least that a JavaScript Worker can say.
import { HOT_CONNECTIONS, WARMUP_REQUESTS, settings } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { baseline, product } from '../servers.mjs';
import { asking } from '../product.mjs';
import { overBudget } from './abuser.mjs';

export const REQUESTS_PER_MINUTE = 100;
// As long as a guest's token.
const TOKEN_LIKE = 'x'.repeat(700);
const LOAD = { connections: HOT_CONNECTIONS, order: 'cycle', warmup_requests: WARMUP_REQUESTS };

async function ours() {
  const server = await product(REQUESTS_PER_MINUTE);
  const abuser = await overBudget(server, REQUESTS_PER_MINUTE);
  return sendLoad(server, { ...LOAD, requests: [asking(abuser)], expected: 429 });
}

async function javascript() {
  return sendLoad(await baseline('hello'), { ...LOAD, requests: [{ method: 'GET', path: '/' }] });
}

// The same requests, all answered with the same words.
async function undecided() {
  const requests = [asking({ token: TOKEN_LIKE })];
  return sendLoad(await baseline('refusal'), { ...LOAD, requests, expected: 429 });
}

export function refused() {
  const title = 'refused request (429), 32 connections';
  const against = (title, other, target, ours) => ({ id: 'P13', title, ours, other, target, of: 'per_second' });
  return {
    contenders: { ours, javascript, undecided },
    rows: [
      against(`${title} ÷ JavaScript hello`, 'javascript', { least: 0.7 }),
      against(`${title} ÷ JavaScript that says the same to the same request, deciding nothing`, 'undecided'),
      against('that JavaScript ÷ JavaScript hello', 'javascript', undefined, 'undecided'),
    ],
    notes: settings.secondsEach > 50 ? ['a window of more than a minute frees the budget: P13 is then no 429'] : [],
  };
}
