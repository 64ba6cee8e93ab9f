// What the page does beyond forms and links: questions in a dialog, uploads with progress, and plots.
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

// Plots of a campaign: columns of /campaigns/ID/series, fetched again and again until it is over.
const section = document.querySelector("[data-series]");
if (section) {
	const interval = 2000;
	const plots = new Map();
	let data;

	const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

	// what of the columns each plot shows
	const columns = {
		loss: [["mean", "loss", "--accent"], ["worst device", "worst", "--series-2"]],
		nacks: [["now", "nacks", "--accent"]],
		rate: [["now", "rate", "--accent"]],
	};
	const unit = { loss: " %", nacks: " per s", rate: " Mbit/s" };

	function draw(box) {
		const which = box.dataset.plot;
		plots.get(box)?.destroy();
		const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
		const series = columns[which].map(([label, , line]) => ({ label, stroke: colour(line), width: 2, points: { show: false } }));
		const range = (u, min, max) => [0, Math.max(max * 1.1, 1)];
		const plot = new uPlot({
			width: box.clientWidth, height: 170, legend: { show: false }, cursor: { show: false },
			scales: { y: { range } }, axes: [{ ...axis, space: 70, values: (u, times) => times.map((t) => new Date(1000 * t).toISOString().slice(11, 19)) }, { ...axis, size: 42 }],
			series: [{}, ...series],
		}, [data.time, ...columns[which].map(([, key]) => data[key])], box);
		plots.set(box, plot);
		const words = columns[which].map(([label, key]) => `${label} ${data[key].at(-1).toFixed(1)}${unit[which]}`).join(", ");
		box.setAttribute("role", "img");
		box.setAttribute("aria-label", words);
		box.parentElement.querySelector("span").textContent = words;
	}

	function drawAll() {
		for (const box of section.querySelectorAll("[data-plot]")) draw(box);
	}

	async function look() {
		if (!document.hidden) {
			try {
				const answer = await fetch(section.dataset.series);
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
