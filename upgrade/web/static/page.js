// What the page does beyond forms and links: questions in a dialog, uploads with progress, times in the zone of who looks, plots,
// and saying when what is shown is not live.
"use strict";

// A link with data-ask leads to a page with a question; here it comes in a dialog. Without this script the link works.
document.addEventListener("click", async (e) => {
	const link = e.target.closest("a[data-ask]");
	const dialog = document.getElementById("ask");
	if (e.target.closest("a[data-close]") && dialog.open) {
		e.preventDefault();
		dialog.close();
		return;
	}
	if (!link || e.metaKey || e.ctrlKey || e.shiftKey) return;
	e.preventDefault();
	try {
		const answer = await fetch(link.href, { headers: { "HX-Request": "true" } });
		if (answer.status === 401) throw new Error("logged out");
		dialog.innerHTML = await answer.text();
		dialog.showModal();
		(dialog.querySelector("[data-close]") || dialog.querySelector("a, button")).focus();
	} catch {
		location.href = link.href;
	}
});

// A form with data-upload is sent by a request that tells how far it is.
document.addEventListener("submit", (e) => {
	const form = e.target.closest("form[data-upload]");
	if (!form) return;
	e.preventDefault();
	const transfer = form.querySelector(".transfer");
	const bar = transfer.querySelector("progress");
	const words = transfer.querySelector("output");
	const button = form.querySelector("button");
	const request = new XMLHttpRequest();
	transfer.hidden = false;
	button.disabled = true;
	let told = -1;
	request.upload.addEventListener("progress", (p) => {
		if (!p.lengthComputable) return;
		bar.value = (100 * p.loaded) / p.total;
		const tenth = Math.floor((10 * p.loaded) / p.total);
		if (tenth === told) return; // it is read aloud
		told = tenth;
		words.textContent = tenth === 10 ? "The server checks the image." : `${10 * tenth} %`;
	});
	request.addEventListener("load", () => {
		if (request.status < 400) {
			location.href = request.getResponseHeader("HX-Redirect") || location.href;
			return;
		}
		const page = new DOMParser().parseFromString(request.responseText, "text/html");
		words.textContent = page.querySelector("[role=alert]")?.textContent || "The server refused the upload.";
		button.disabled = false;
	});
	request.addEventListener("error", () => {
		words.textContent = "The connection was lost. Try again; what was complete is kept.";
		button.disabled = false;
	});
	request.open("POST", form.action);
	request.setRequestHeader("HX-Request", "true");
	request.send(new FormData(form));
});

// Fields that belong to a choice are shown with it.
function showChoice() {
	const chosen = document.querySelector("input[name=start]:checked")?.value;
	for (const field of document.querySelectorAll("[data-for]")) field.hidden = field.dataset.for !== chosen;
}
document.addEventListener("change", (e) => {
	if (e.target.name === "start") showChoice();
});
showChoice();

// Times are told in the zone of who looks; the server wrote them in UTC, which stays in the title.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const two = (n) => String(n).padStart(2, "0");

function localTime(t) {
	return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}`;
}
function tellTimes() {
	for (const e of document.querySelectorAll("time[datetime]")) {
		const text = localTime(new Date(e.dateTime));
		if (e.textContent !== text) e.textContent = text;
	}
}
tellTimes();
new MutationObserver(tellTimes).observe(document.body, { childList: true, characterData: true, subtree: true });
const zoneWord = document.getElementById("zone");
if (zoneWord) zoneWord.textContent = `Times are in your zone, ${zone}; the title of each is UTC.`;

// A field for a time in UTC says what that is in the zone of who writes.
function tellLocal(field) {
	const hint = field.parentElement.querySelector("[data-local]");
	const t = new Date(field.value + "Z");
	hint.textContent = field.value && !isNaN(t) ? `${localTime(t)} in ${zone}` : "";
}
for (const field of document.querySelectorAll("input[type=datetime-local]")) {
	if (!field.parentElement.querySelector("[data-local]")) continue;
	tellLocal(field);
	field.addEventListener("input", () => tellLocal(field));
}

// What keeps itself up to date says so when it does not any more. The server says something every ten seconds at least.
const live = document.querySelector("[id=live]");
const stale = document.querySelector("[data-stale]");
if (live && stale && live.hasAttribute("hx-sse:connect")) {
	const patience = 25000;
	let heard = Date.now();
	let over = false;
	const clock = () => `${two(new Date(heard).getHours())}:${two(new Date(heard).getMinutes())}:${two(new Date(heard).getSeconds())}`;
	const say = (text, link) => {
		if (over || stale.dataset.said === text) return; // it is read aloud
		stale.dataset.said = text;
		stale.textContent = text;
		if (link) stale.insertAdjacentHTML("beforeend", ` <a href="">${link}</a>`);
		stale.hidden = text === "";
	};
	const alive = () => {
		heard = Date.now();
		say("");
	};
	live.addEventListener("htmx:sse:after:connection", alive);
	live.addEventListener("htmx:sse:after:message", alive);
	live.addEventListener("over", () => {
		say("");
		over = true;
	});
	const lost = (status) => {
		if (document.hidden) return; // the connection rests, and is made again when somebody looks
		if (status === 401) say("You are logged out.", "Log in again");
		else say(`Not live since ${clock()}; trying again.`);
	};
	live.addEventListener("htmx:sse:error", (e) => lost(e.detail.status));
	live.addEventListener("htmx:sse:close", () => say(`Not live since ${clock()}.`, "Load again"));
	live.addEventListener("htmx:error", () => say(`Not live since ${clock()}.`, "Load again"));
	live.addEventListener("htmx:response:error", (e) => say(e.detail.ctx?.response?.status === 401 ? "You are logged out." : `Not live since ${clock()}.`, "Load again"));
	document.addEventListener("visibilitychange", () => (heard = Date.now()));
	setInterval(() => Date.now() - heard > patience && lost(), 5000);
}

// Plots of a campaign: columns of /campaigns/ID/series, fetched again and again until it is over.
const section = document.querySelector("[data-series]");
if (section) {
	const interval = 2000;
	const plots = new Map();
	let data;

	const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

	// What of the columns each plot shows, and in which unit.
	const shown = {
		loss: { unit: "% of datagrams", short: " %", lines: [["mean", "loss", "--series-1"], ["worst device", "worst", "--series-2"]] },
		nacks: { unit: "per second", short: "/s", lines: [["NACKs", "nacks", "--series-1"], ["repairs", "repairs", "--series-2"]] },
		rate: { unit: "Mbit/s", short: " Mbit/s", lines: [["now", "rate", "--series-1"]] },
	};

	// sayTime is that of an axis: seconds matter while everything that is shown is within some minutes.
	function sayTime(seconds, span) {
		const t = new Date(1000 * seconds);
		const clock = `${two(t.getHours())}:${two(t.getMinutes())}`;
		if (span > 86400) return `${two(t.getMonth() + 1)}-${two(t.getDate())} ${clock}`;
		return span < 600 ? `${clock}:${two(t.getSeconds())}` : clock;
	}

	function draw(box) {
		const { unit, short, lines } = shown[box.dataset.plot];
		plots.get(box)?.destroy();
		const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui", labelFont: "12px system-ui" };
		const span = data.time.at(-1) - data.time[0];
		const plot = new uPlot({
			width: box.clientWidth, height: 180, legend: { show: false }, cursor: { show: false },
			scales: { y: { range: (u, min, max) => [0, Math.max((max ?? 0) * 1.1, 1)] } },
			axes: [{ ...axis, space: 75, size: 28, values: (u, times) => times.map((t) => sayTime(t, span)) }, { ...axis, size: 42, label: unit, labelSize: 18 }],
			series: [{}, ...lines.map(([label, , line]) => ({ label, stroke: colour(line), width: 2, points: { show: false } }))],
		}, [data.time, ...lines.map(([, key]) => data[key])], box);
		plots.set(box, plot);
		const words = lines.map(([label, key]) => `${label} ${data[key].at(-1)?.toFixed(1) ?? "–"}${short}`);
		box.setAttribute("role", "img");
		box.setAttribute("aria-label", words.join(", "));
		const caption = box.parentElement.querySelector("span");
		caption.replaceChildren(...words.map((text, i) => {
			const word = document.createElement("b");
			word.className = `line-${i + 1}`;
			word.textContent = text;
			return word;
		}));
	}

	function drawAll() {
		for (const box of section.querySelectorAll("[data-plot]")) draw(box);
	}

	async function look() {
		if (!document.hidden) {
			try {
				const answer = await fetch(section.dataset.series, { headers: { "HX-Request": "true" } });
				if (answer.status === 401) return; // the page says so
				if (answer.ok) {
					data = await answer.json();
					if (data.time.length > 1) {
						section.hidden = false;
						drawAll();
					}
					if (data.over) return;
				}
			} catch { /* the server is away; it is asked again */ }
		}
		setTimeout(look, interval);
	}
	look();

	matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => data?.time.length > 1 && drawAll());
	addEventListener("resize", () => data?.time.length > 1 && drawAll());
}
