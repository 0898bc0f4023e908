// The least that a Worker can do: what any reply costs on this runtime before it says something.
export default {
  fetch() {
    return new Response('hello');
  },
};
